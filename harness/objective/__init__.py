"""What is minimised: adversarial losses and penalties."""
