"""What the gateway says about itself: the decision log and its health."""
