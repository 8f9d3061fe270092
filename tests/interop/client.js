// Runs gRPC for Node (@grpc/grpc-js) against this server: the four RPC kinds, deadlines, cancellation, GOAWAY and
// keepalive.
//
// Started by tests/interop/run. Every claim is a function; the first one that fails ends the program.

const assert = require("node:assert");
const path = require("node:path");
const modules = process.env.NODE_MODULES;
const grpc = require(path.join(modules, "@grpc/grpc-js"));
const loader = require(path.join(modules, "@grpc/proto-loader"));

// A server that allows a ping each second, one whose connections reach their age after two seconds, and one without
// flags.
const [PERMISSIVE, AGING, STRICT] = process.argv.slice(2);

const files = ["post/v1/post.proto", "user/v1/user.proto"];
const options = { keepCase: true, longs: Number, oneofs: true, includeDirs: [path.join(__dirname, "../../proto")] };
const { post, user } = grpc.loadPackageDefinition(loader.loadSync(files, options));

const client = (Service, address, options = {}) =>
  new Service(address, grpc.credentials.createInsecure(), options);
const posts = (address, options) => client(post.v1.PostService, address, options);
const users = (address) => client(user.v1.UserService, address);
const within = (seconds) => ({ deadline: new Date(Date.now() + seconds * 1000) });

const unary = (service, method, request, options = within(20)) =>
  new Promise((resolve, reject) =>
    service[method](request, options, (error, answer) => (error ? reject(error) : resolve(answer))));

function upload(service, ids) {
  return new Promise((resolve, reject) => {
    const call = service.UploadPosts(within(20), (error, answer) => (error ? reject(error) : resolve(answer)));
    for (const post_id of ids)
      call.write({ post_message: { post_id, user_id: "1", title: post_id, tags: ["interop"] } });
    call.end({ finish: { post_count: ids.length } });
  });
}

async function fails(code, promise) {
  const error = await promise.then(() => assert.fail(`expected a failure with ${code}`), (error) => error);
  assert.strictEqual(error.code, code, error);
  return error;
}

// Collects all messages of a stream, up to its end.
async function drained(stream, each = () => {}) {
  const messages = [];
  for await (const message of stream) {
    messages.push(message);
    each(message);
  }
  return messages;
}

async function theFourKindsWork() {
  const service = posts(PERMISSIVE);
  const uploaded = await upload(service, Array.from({ length: 500 }, (_, n) => `node-${n}`));
  assert(uploaded.complete && uploaded.created_count === 500);
  const page = await unary(service, "ListPostsByUserId", { user_id: "1" });
  assert.strictEqual(page.post_messages[0].author, "Henry");
  const listed = await drained(service.ListPosts({}, within(20)));
  const sequences = listed.flatMap((batch) => batch.post_messages.map((message) => message.sequence));
  assert(sequences.length >= 500 && sequences.every((sequence, index) => sequence === index + 1));
  assert(listed.at(-1).snapshot_complete);

  const feed = service.TagFeed(within(20));
  feed.write({ join: { tags: ["node-feed"] } });
  const kinds = new Set();
  const messages = await drained(feed, ({ payload }) => {
    kinds.add(payload);
    if (payload === "joined")
      feed.write({ publish: { post_message: { post_id: "node-feed", user_id: "1", title: "t", tags: ["node-feed"] } } });
    if (kinds.has("receipt") && kinds.has("posts")) feed.end();
  });
  assert.deepStrictEqual([...kinds].sort(), ["bookmark", "joined", "posts", "receipt"]);
  assert(messages.at(-1).bookmark.caught_up);
  service.close();
}

async function aUserIsFound(service) {
  const { user_message } = await unary(service, "GetUser", { user_id: "2" });
  assert.strictEqual(user_message.name, "Michael");
}

async function aDeadlineAndACancellationEndAStreamAndTheConnectionStaysOpen() {
  const service = posts(PERMISSIVE);
  await fails(grpc.status.DEADLINE_EXCEEDED, drained(service.ListPosts({ follow: true }, within(1))));
  const stream = service.ListPosts({ follow: true });
  await fails(grpc.status.CANCELLED, drained(stream, () => stream.cancel()));
  await unary(service, "ListPostsByUserId", { user_id: "1" });
  service.close();
}

async function callsSucceedWhileConnectionsReachTheirAge() {
  const service = users(AGING);
  for (const end = Date.now() + 5000; Date.now() < end; ) await aUserIsFound(service);
  service.close();
}

async function aStreamOfAnAgedConnectionEndsWithTheReason() {
  const service = posts(AGING);
  const error = await fails(grpc.status.UNAVAILABLE, drained(service.ListPosts({ follow: true }, within(20))));
  assert.match(error.details, /reached its maximum age/);
  service.close();
}

async function permittedPingsGetNoStrikeAndTooManyPingsEndTheConnection() {
  const pings = { "grpc.keepalive_time_ms": 1000 };
  const honest = posts(PERMISSIVE, pings);
  const hasty = posts(STRICT, pings);
  await Promise.all([
    fails(grpc.status.DEADLINE_EXCEEDED, drained(honest.ListPosts({ follow: true }, within(6)))),
    // gRPC for Node maps ENHANCE_YOUR_CALM to RESOURCE_EXHAUSTED.
    fails(grpc.status.RESOURCE_EXHAUSTED, drained(hasty.TagFeed(within(15)))),
  ]);
  honest.close();
  hasty.close();
}

async function main() {
  await theFourKindsWork();
  const service = users(PERMISSIVE);
  await aUserIsFound(service);
  await fails(grpc.status.NOT_FOUND, unary(service, "GetUser", { user_id: "x" }));
  service.close();
  await aDeadlineAndACancellationEndAStreamAndTheConnectionStaysOpen();
  await callsSucceedWhileConnectionsReachTheirAge();
  await aStreamOfAnAgedConnectionEndsWithTheReason();
  await permittedPingsGetNoStrikeAndTooManyPingsEndTheConnection();
  console.log("gRPC for Node: all claims hold");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
