"""The geometry of faces: the 68 points, parts of a face, squares about it, and finding it in a photo."""
