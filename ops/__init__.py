"""What an operator runs: the local stack, the deployment, the policies."""
