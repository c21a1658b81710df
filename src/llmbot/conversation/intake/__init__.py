"""The way in: arrival order, stream's durable place, answers on credit when the disk refuses."""
