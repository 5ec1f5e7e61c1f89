// Starts Swagger UI on the service's own document. It loads nothing else and stores nothing.
"use strict";
SwaggerUIBundle({
  dom_id: "#try",
  url: document.getElementById("try").dataset.document,
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
