"""EKS, served whole from the recorded store: moto's EKS drops too much of a cluster to be told apart from one that
has drifted."""
