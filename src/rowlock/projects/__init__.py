"""Projects and their deployments: the hosting panel."""
