// Listens on loopback only, whatever address the program asks for.
const net = require('node:net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  if (args[0] !== null && typeof args[0] === 'object') {
    args[0] = { ...args[0], host: '127.0.0.1' };
  } else if (typeof args[0] === 'number') {
    const callback = args.find((arg) => typeof arg === 'function');
    args = [args[0], '127.0.0.1', ...(callback ? [callback] : [])];
  }
  return listen.apply(this, args);
};
