"""One file is one experiment: YAML with its lines, layers, schema, and the parts that it names, built."""
