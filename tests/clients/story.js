'use strict';
// node-zookeeper-client tells what happened, line by line; '@' lines ask the runner to do something to the servers.
const zookeeper = require('node-zookeeper-client');
const readline = require('readline');
const {ACL, CreateMode, Exception, Id, Permission} = zookeeper;

const SECONDS = 30;
const say = (...words) => console.log(words.join(' '));
const answers = readline.createInterface({input: process.stdin});
const pendingAnswers = [];
answers.on('line', () => pendingAnswers.shift()());

function ask(action) {
  say('@' + action);
  return new Promise((resolve) => pendingAnswers.push(resolve));
}

// A method with a callback as a promise: rejects with the library's exception.
function call(client, method, ...args) {
  return new Promise((resolve, reject) => {
    client[method](...args, (error, ...results) => (error ? reject(error) : resolve(results.length > 1 ? results : results[0])));
  });
}

// What a call gave, or the name of its error.
async function attempt(words, promise, show = (x) => x) {
  try {
    say(words + ':', show(await promise));
  } catch (error) {
    if (!(error instanceof Exception)) {
      throw error;
    }
    say(words + ':', error.getName());
  }
}

// Until the connection is there again; only for what may be repeated. The library forgets a request that it
// wrote just as the connection broke, and waits for ever on a connection that a starting reference took and never
// answers: what is not answered in two seconds is asked again, on a new connection.
async function again(zk, make) {
  for (const end = Date.now() + SECONDS * 1000; ;) {
    let timer;
    try {
      return await Promise.race([make(), new Promise((resolve, reject) => {
        timer = setTimeout(() => zk.connectionManager.socket.destroy() && reject(new Exception(Exception.CONNECTION_LOSS, 'no answer', again)), 2000);
      })]);
    } catch (error) {
      if (!(error instanceof Exception) || error.getCode() !== Exception.CONNECTION_LOSS || Date.now() > end) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    } finally {
      clearTimeout(timer);
    }
  }
}

function connect(hosts) {
  return new Promise((resolve) => {
    const client = zookeeper.createClient(hosts, {sessionTimeout: 10000, spinDelay: 50, retries: 0});
    client.once('connected', () => resolve(client));
    client.connect();
  });
}

function close(client) {
  return new Promise((resolve) => {
    client.once('disconnected', resolve);
    client.close();
  });
}

// A watcher and the promise of its one event.
function watcher() {
  let told;
  const event = new Promise((resolve) => { told = resolve; });
  return {on: (e) => told(e.getName() + ' ' + e.getPath()), event};
}

const stat = (s) => (s ? `version ${s.version} cversion ${s.cversion} aversion ${s.aversion} length ${s.dataLength} ` +
  `children ${s.numChildren}` : 'none');

// The library's own removeRecursive overlooks the deepest nodes.
async function removeTree(client, path) {
  const [names] = await call(client, 'getChildren', path);
  for (const name of names) {
    await removeTree(client, path + '/' + name);
  }
  await call(client, 'remove', path);
}

async function plain(hosts) {
  const zk = await connect(hosts[0]);
  const other = await connect(hosts[1 % hosts.length]);
  await attempt('create', call(zk, 'create', '/nd', Buffer.from('one')));
  await attempt('create again', call(zk, 'create', '/nd', Buffer.from('one')));
  await attempt('without parent', call(zk, 'create', '/nd/x/y'));
  await attempt('mkdirp', call(zk, 'mkdirp', '/nd/a/b/c'));
  for (const mode of ['PERSISTENT_SEQUENTIAL', 'EPHEMERAL', 'EPHEMERAL_SEQUENTIAL', 'CONTAINER']) {
    await attempt(mode, call(zk, 'create', `/nd/${mode}-`, null, CreateMode[mode]));
  }
  await attempt('child of an ephemeral', call(zk, 'create', '/nd/EPHEMERAL-/x'));
  await attempt('get', call(zk, 'getData', '/nd'), ([data, s]) => `${data} ${stat(s)}`);
  await attempt('set', call(zk, 'setData', '/nd', Buffer.from('two'), 0), stat);
  await attempt('set, old version', call(zk, 'setData', '/nd', Buffer.from('two'), 0));
  await attempt('exists', call(zk, 'exists', '/nd'), stat);
  await attempt('exists not', call(zk, 'exists', '/nd/none'), stat);
  await attempt('children', call(zk, 'getChildren', '/nd'), ([names, s]) => `${names.sort()} ${stat(s)}`);
  await attempt('delete, not empty', call(zk, 'remove', '/nd'));
  await attempt('acl', call(zk, 'getACL', '/nd'), ([acls, s]) =>
    acls.map((a) => `${a.permission} ${a.id.scheme}:${a.id.id}`) + ' ' + stat(s));

  await attempt('transaction', new Promise((resolve, reject) => zk.transaction().create('/nd/t', Buffer.from('t'))
    .check('/nd/t', 0).setData('/nd/t', Buffer.from('tt'), 0).remove('/nd/t', 1)
    .commit((error, results) => (error ? reject(error) : resolve(results)))), (r) => r.length);
  await attempt('failing transaction', new Promise((resolve, reject) => zk.transaction().create('/nd/u')
    .remove('/nd/none').commit((error, results) => (error ? reject(error) : resolve(results)))));
  await attempt('nothing of it', call(zk, 'exists', '/nd/u'), stat);

  const gets = watcher(), lists = watcher(), exists = watcher();
  await call(zk, 'getData', '/nd', gets.on);
  await call(zk, 'getChildren', '/nd', lists.on);
  await call(zk, 'exists', '/nd/new', exists.on);
  await call(other, 'setData', '/nd', Buffer.from('three'), -1);
  say('event:', await gets.event);
  await call(other, 'create', '/nd/new');
  say('event:', await exists.event);
  say('event:', await lists.event);

  const many = [];
  for (let i = 0; i < 200; i++) {
    many.push(call(zk, 'create', '/nd/p-', Buffer.from(String(i)), CreateMode.PERSISTENT_SEQUENTIAL));
  }
  const names = await Promise.all(many);
  say('200 at once, in order:', names.every((n, i) => i === 0 || names[i - 1] < n));
  const read = await Promise.all(names.map((n) => call(zk, 'getData', n)));
  say('each with its data:', read.every(([data], i) => String(data) === String(i)));

  zk.addAuthInfo('digest', Buffer.from('ann:secret'));
  const mine = [new ACL(Permission.ALL, new Id('auth', ''))];
  await attempt('mine', call(zk, 'create', '/nd/mine', Buffer.from('secret'), mine));
  await attempt('mine, read', call(zk, 'getData', '/nd/mine'), ([data]) => data);
  const late = watcher();
  if (!(await call(other, 'exists', '/nd/mine', late.on))) {
    await late.event;
  }
  await attempt('mine, read by another', call(other, 'getData', '/nd/mine'));
  await attempt('set acl', call(zk, 'setACL', '/nd/mine', ACL.OPEN_ACL_UNSAFE, 0), stat);
  await attempt('subtree', call(zk, 'listSubTreeBFS', '/nd/a'));
  await removeTree(zk, '/nd');
  await close(zk);
  await close(other);
}

async function events(hosts) {
  const zk = await connect(hosts.join(','));
  const session = zk.getSessionId().toString('hex');
  const same = () => zk.getSessionId().toString('hex') === session;
  await call(zk, 'create', '/ne', Buffer.from('0'));
  await call(zk, 'create', '/ne/eph', null, CreateMode.EPHEMERAL);
  await ask('kill leader');
  await again(zk, () => call(zk, 'setData', '/ne', Buffer.from('1'), -1));
  say('written; same session:', same());
  say('ephemeral:', stat(await again(zk, () => call(zk, 'exists', '/ne/eph'))));
  await ask('start killed');
  await ask('restart 1');
  await again(zk, () => call(zk, 'setData', '/ne', Buffer.from('2'), -1));
  await ask('restart all');
  await again(zk, () => call(zk, 'setData', '/ne', Buffer.from('3'), -1));
  say('written; same session:', same());
  say('ephemeral:', stat(await again(zk, () => call(zk, 'exists', '/ne/eph'))));
  say('data:', (await again(zk, () => call(zk, 'getData', '/ne')))[0]);
  await close(zk);
  const other = await connect(hosts[0]);
  const gone = watcher();
  if (await call(other, 'exists', '/ne/eph', gone.on)) {
    await gone.event;
  }
  say('ephemeral gone');
  await removeTree(other, '/ne');
  await close(other);
}

({plain, events})[process.argv[2]](process.argv[3].split(',')).then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
