"""The OpenAPI document of a service, and a page to read it."""
