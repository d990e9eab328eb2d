"""One file per recommender; its name is what the user types: `model=multivae`.

A model may import `training`, `data`, `persistence` and what lies below; see `recsweep`.
"""
