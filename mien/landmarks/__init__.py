"""The 68 points on faces: finding the faces, predicting, checking, drawing and writing the points."""
