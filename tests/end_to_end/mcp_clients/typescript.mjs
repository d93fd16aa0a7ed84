// The TypeScript SDK's client, told what to do on its standard input: see `Order` in test_mcp_clients.py.
// Its one argument is the folder that has the SDK.

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(process.argv[2] + "/"));
const load = (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));
const { Client } = await load("client/index.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");
const { SSEClientTransport } = await load("client/sse.js");
const schemas = await load("types.js");

const VALUES = { string: "said", integer: 7, number: 7.5, boolean: true };
const CHANGES = [
  schemas.ToolListChangedNotificationSchema,
  schemas.PromptListChangedNotificationSchema,
  schemas.ResourceListChangedNotificationSchema,
  schemas.ResourceUpdatedNotificationSchema,
];

class Session {
  heard = [];
  changed = new Set();

  constructor() {
    const capabilities = { sampling: {}, elicitation: {}, roots: {} };
    this.client = new Client({ name: "typescript", version: "1" }, { capabilities });
    this.client.setRequestHandler(schemas.CreateMessageRequestSchema, (request) => this.sample(request.params));
    this.client.setRequestHandler(schemas.ElicitRequestSchema, (request) => this.elicit(request.params));
    this.client.setRequestHandler(schemas.ListRootsRequestSchema, () => this.roots());
    this.client.setNotificationHandler(schemas.LoggingMessageNotificationSchema, ({ params }) => {
      this.heard.push(["log", params.level, params.data]);
    });
    for (const schema of CHANGES) {
      this.client.setNotificationHandler(schema, ({ method }) => void this.changed.add(method));
    }
  }

  sample(params) {
    this.heard.push(["sampling", [params.messages[0].content].flat()[0].text]);
    return { role: "assistant", content: { type: "text", text: "sampled" }, model: "none" };
  }

  elicit(params) {
    this.heard.push(["elicitation", params.message]);
    const fields = Object.entries(params.requestedSchema.properties).filter(([, one]) => !("enum" in one));
    const content = Object.fromEntries(fields.map(([name, one]) => [name, VALUES[one.type] ?? ["one"]]));
    return { action: "accept", content };
  }

  roots() {
    this.heard.push(["roots"]);
    return { roots: [{ uri: "file:///srv/root", name: "root" }] };
  }

  async step(name, ...given) {
    const client = this.client;
    switch (name) {
      case "tools":
        return await this.all("tools", (page) => client.listTools(page));
      case "prompts":
        return await this.all("prompts", (page) => client.listPrompts(page));
      case "resources":
        return await this.all("resources", (page) => client.listResources(page));
      case "templates":
        return await this.all("resourceTemplates", (page) => client.listResourceTemplates(page));
      case "call":
        return await this.call(...given);
      case "read":
        return await client.readResource({ uri: given[0] });
      case "prompt":
        return await client.getPrompt({ name: given[0], arguments: given[1] });
      case "complete":
        return await client.complete({
          ref: { type: "ref/prompt", name: given[0] },
          argument: { name: given[1], value: given[2] },
        });
      case "change":
        return await this.change(...given);
    }
    throw new Error(name);
  }

  async call(name, args) {
    const onprogress = ({ progress, total }) => this.heard.push(["progress", progress, total]);
    return await this.client.callTool({ name, arguments: args }, undefined, { onprogress });
  }

  async all(member, fetch) {
    const found = [];
    let cursor;
    do {
      const page = await fetch({ cursor });
      found.push(...page[member]);
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return found;
  }

  async change(tool, args, method, uri) {
    if (uri) await this.client.subscribeResource({ uri });
    for (let left = 200; left && !this.changed.has(method); left--) {
      await this.client.callTool({ name: tool, arguments: args });
      await new Promise((go) => setTimeout(go, 100)); // the stream for it may only be opening
    }
    return this.changed.has(method) ? method : "nothing heard";
  }
}

async function follow(url, steps) {
  const session = new Session();
  const Transport = url.endsWith("/sse") ? SSEClientTransport : StreamableHTTPClientTransport;
  const transport = new Transport(new URL(url));
  await session.client.connect(transport);
  const done = [[transport.protocolVersion ?? transport._protocolVersion, session.client.getServerCapabilities(), []]];
  for (const [name, ...given] of steps) {
    session.heard = [];
    const said = await session.step(name, ...given).catch((error) => {
      if (error instanceof schemas.McpError) return { code: error.code, message: error.message };
      throw error;
    });
    done.push([name, said, session.heard]);
  }
  await transport.terminateSession?.();
  await session.client.close();
  return done;
}

const order = JSON.parse(await text(process.stdin));
const done = [];
for (const [url, steps] of order.visits) done.push(await follow(url, steps));
console.log(JSON.stringify(done));
