"""A Kubernetes controller that runs Jobs when git repositories change."""
