"""What scores say: from predictions to figures per detector and dataset."""
