"""Rules about modes: training, evaluation, gradients on and off."""
