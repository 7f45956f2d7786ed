"""What the Head view can do besides showing one head: other maps, like points, two heads side by side, new inputs."""
