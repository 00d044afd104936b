"""The folder of a run, its predictions, and the ledger of who opened the reporting rows."""
