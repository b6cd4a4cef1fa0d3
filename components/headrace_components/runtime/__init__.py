"""Scripts that run inside pods. They are shipped as ConfigMaps and import nothing of ours."""
