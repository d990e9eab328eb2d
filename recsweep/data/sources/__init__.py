"""The choices of `data=`: one file per source; `source.py` has what they share."""
