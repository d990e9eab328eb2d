"""How gradient-trained models are trained: batches, schedules, the loop and the engine."""
