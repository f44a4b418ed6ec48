"""Trains the starter CLIP and builds the demo catalogue, one command a step."""
