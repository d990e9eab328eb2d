"""Finished runs side by side: tables with intervals and corrected tests, fairness of the tuning."""
