"""Evaluation: from predictions to metrics per detector and slice."""
