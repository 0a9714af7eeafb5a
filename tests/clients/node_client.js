// toxiproxy-node-client against `brownout proxy`: proxies, every toxic, and what the bytes feel.

const assert = require("node:assert/strict");
const net = require("node:net");
const { Toxiproxy } = require("toxiproxy-node-client");

function echoServer() {
  return new Promise((resolve) => {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => {});
      socket.pipe(socket);
    });
    server.unref();
    server.listen(0, "127.0.0.1", () => resolve(`127.0.0.1:${server.address().port}`));
  });
}

/** A connection; `got` is what it has received, `ended` how it ended: "end", an error's code, or nothing yet. */
function connect(proxy) {
  const [host, port] = proxy.listen.split(":");
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port: Number(port), noDelay: true, allowHalfOpen: true });
    const client = { socket, got: "", ended: undefined };
    socket.on("data", (data) => (client.got += data));
    socket.on("end", () => (client.ended ??= "end"));
    socket.on("error", (error) => {
      client.ended ??= error.code;
      reject(error);
    });
    socket.on("connect", () => resolve(client));
  });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits up to 5 s; how many milliseconds it took. */
async function until(what, holds) {
  const start = performance.now();
  while (!holds()) {
    if (performance.now() - start > 5000) throw new Error(`not within 5 s: ${what}`);
    await pause(1);
  }
  return performance.now() - start;
}

function roundTrip(client, text = "hello") {
  const wanted = client.got + text;
  client.socket.write(text);
  return until("the echo", () => client.got === wanted);
}

const toxics = {
  latency: [{ latency: 100, jitter: 0 }, async (client) => assert((await roundTrip(client)) >= 99)],
  bandwidth: [{ rate: 100 }, async (client) => assert((await roundTrip(client, "x".repeat(10000))) >= 90)],
  slow_close: [{ delay: 100 }, async (client) => {
    await roundTrip(client);
    client.socket.end();
    assert((await until("the end", () => client.ended)) >= 99);
  }],
  timeout: [{ timeout: 100 }, async (client) => {
    client.socket.write("lost");
    await until("the end", () => client.ended === "end");
    assert.equal(client.got, "");
  }],
  reset_peer: [{ timeout: 50 }, async (client) => until("the reset", () => client.ended === "ECONNRESET")],
  slicer: [{ average_size: 100, size_variation: 0, delay: 5000 }, async (client) => {
    assert((await roundTrip(client, "x".repeat(1000))) >= 40);
  }],
  limit_data: [{ bytes: 5 }, async (client) => {
    client.socket.write("0123456789");
    await until("the end", () => client.ended === "end");
    assert.equal(client.got, "01234");
  }],
  packet_loss: [{ loss_rate: 1, correlation: 0 }, async (client) => {
    client.socket.write("lost");
    await pause(200);
    assert.equal(client.got + client.ended, "undefined");
  }],
};

async function main() {
  const server = new Toxiproxy(`http://${process.argv[2]}`);
  const upstream = await echoServer();

  assert.match(await server.getVersion(), /"version": "2\./);
  assert.deepEqual(await server.getAll(), {});
  const web = await server.createProxy({ name: "web", listen: "127.0.0.1:0", upstream });
  assert(web.enabled && !web.listen.endsWith(":0"));
  await assert.rejects(server.createProxy({ name: "web", listen: "127.0.0.1:0", upstream }), /status code 409/);
  assert.equal((await server.get("web")).listen, web.listen);
  await assert.rejects(server.get("nobody"), /status code 404/);

  const open = await connect(web);
  await roundTrip(open);
  assert.equal((await web.update({ enabled: false, listen: web.listen, upstream })).enabled, false);
  await until("open connections end", () => open.ended);
  await assert.rejects(connect(web), /ECONNREFUSED/);
  assert.equal((await web.update({ enabled: true, listen: web.listen, upstream })).enabled, true);
  const again = await connect(web);
  await roundTrip(again);
  again.socket.destroy();

  for (const [type, [attributes, behaves]] of Object.entries(toxics)) {
    const toxic = await web.addToxic({ type, stream: "downstream", toxicity: 1, attributes });
    assert.equal(toxic.name, `${type}_downstream`);
    assert.deepEqual((await web.getToxic(toxic.name)).attributes, attributes);
    const client = await connect(web);
    await behaves(client);
    client.socket.destroy();
    await toxic.remove();
    const after = await connect(web);
    assert((await roundTrip(after)) < 90, type);
    after.socket.destroy();
  }

  const slow = await web.addToxic({ type: "latency", name: "slow", stream: "upstream", attributes: { latency: 1 } });
  const slower = await slow.update({ ...slow.toJson(), attributes: { latency: 100 } });
  assert.deepEqual(slower.attributes, { latency: 100, jitter: 0 });
  const client = await connect(web);
  assert((await roundTrip(client)) >= 99);
  client.socket.destroy();
  await assert.rejects(web.addToxic({ type: "nonsense", attributes: {} }), /status code 400/);

  await server.reset();
  await assert.rejects(web.getToxic("slow"), /status code 404/);
  const made = await server.populate([
    { name: "web", listen: web.listen, upstream },
    { name: "new", listen: "127.0.0.1:0", upstream },
  ]);
  assert.deepEqual(Object.keys(made), ["web", "new"]);
  for (const proxy of Object.values(await server.getAll())) await proxy.remove();
  assert.deepEqual(await server.getAll(), {});
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
