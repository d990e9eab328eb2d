"""What `data=` names: one file per source; `source.py` holds what they share."""
