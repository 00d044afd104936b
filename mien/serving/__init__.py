"""`mien serve`: models behind an API and a page. FastAPI takes the requests, threads with a model each answer them."""
