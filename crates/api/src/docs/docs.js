// Shows the document that this server was tested against. Calls go to this server, with the session of whoever is
// logged in here, or with the token that "Authorize" was told.

// What may be left out is left out until somebody fills it in: an example of a cursor leads nowhere.
function leaveOut(node) {
  if (!node || typeof node !== 'object') return;
  if (node.in === 'query' && !node.required) delete node.example;
  Object.values(node).forEach(leaveOut);
}

const leavingOut = () => ({
  statePlugins: {
    spec: {
      wrapActions: {
        updateJsonSpec: (update) => (spec) => {
          leaveOut(spec);
          return update(spec);
        },
      },
    },
  },
});

window.addEventListener('load', () => {
  window.ui = SwaggerUIBundle({
    url: 'openapi.yaml',
    dom_id: '#docs',
    plugins: [leavingOut],
    deepLinking: true,
    docExpansion: 'list',
    filter: true,
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    withCredentials: true,
    // Nobody elsewhere is asked whether the document is good.
    validatorUrl: null,
  });
});
