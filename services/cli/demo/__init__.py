"""Demo cameras: an RTSP camera simulator with scripted faults, and the scenes that it shows."""
