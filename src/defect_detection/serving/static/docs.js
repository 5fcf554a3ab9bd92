// The page /docs: Swagger shows the API, and sends with the access key of this tab.
import { address, keyHeaders } from "./api.js";

SwaggerUIBundle({
  url: address("/openapi.json"),
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null, // it would be asked over the network
  requestInterceptor: (request) => ({ ...request, headers: { ...request.headers, ...keyHeaders() } }),
});
