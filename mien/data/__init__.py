"""A folder of Parquet shards with a card: how data comes in, is read, decoded, drawn and shown."""
