"""One file per recommender; its name is what the user types: `model=multivae`."""
