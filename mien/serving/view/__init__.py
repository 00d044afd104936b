"""The workspace view: data sets and runs of one workspace as JSON and PNG, and one file of checked labels."""
