"""Metrics: arrays in, one value per user out."""
