// What is known of the simulated world: servers, channels, people, messages; and who looks at what.
import { api, listen } from "./api.js";

const MESSAGES_KEPT = 300;
const STREAMING_MS = 1600;
const TYPING_MS = 10_000;

/** Tells whoever listens that something changed; a topic each for what is drawn on its own. */
class Topics {
  #listeners = new Map();

  on(topic, listener) {
    if (!this.#listeners.has(topic)) this.#listeners.set(topic, []);
    this.#listeners.get(topic).push(listener);
  }

  tell(topic, value) {
    for (const listener of this.#listeners.get(topic) ?? []) listener(value);
  }
}

export class World extends Topics {
  users = new Map();
  guilds = [];
  channels = new Map(); // id -> channel, threads too
  direct = new Map(); // user name -> channel
  commands = [];
  bot = { id: "", name: "llmbot" };
  me = ""; // name of the user that is played
  isDirect = false; // whether the direct messages of that user are shown
  messages = new Map(); // of the channel that is shown
  streaming = new Map(); // message id -> timer, while its words are still coming
  typing = new Map(); // channel id -> Map(user name -> timer)
  unread = new Map(); // channel id -> count
  uses = new Map(); // interaction id -> {user, name}
  #shownChannel = null; // id of the channel that is shown, unless direct messages are
  #stop = () => {};

  /** Read everything, then hear of every change. */
  async begin() {
    this.#stop();
    const told = await api.world();
    this.#take(told);
    this.me ||= this.#kept("me", [...this.users.values()].find((user) => !user.bot)?.name ?? "alice");
    if (!this.users.has(this.#idOf(this.me))) this.me = "alice";
    const here = this.#kept("here", "");
    await (here === "@" ? this.openDirect() : this.open(here));
    this.#stop = listen(told.last_event_id, {
      onEvent: (event) => this.#hear(event),
      onState: (connected) => this.tell("connection", connected),
      onRestart: () => this.#again(),
    });
    this.tell("places");
    this.tell("gateway");
  }

  /** Begin anew as soon as the simulator answers. */
  #again() {
    this.begin().catch(() => setTimeout(() => this.#again(), 2000));
  }

  /** Read servers, channels, people and commands anew. */
  async refresh() {
    this.#take(await api.world());
    this.tell("places");
  }

  #take(told) {
    this.bot = told.bot;
    this.users = new Map(told.users.map((user) => [user.id, user]));
    this.guilds = told.guilds;
    this.channels = new Map();
    this.direct = new Map();
    for (const guild of told.guilds) for (const channel of guild.channels) this.channels.set(channel.id, channel);
    for (const channel of told.direct_channels) {
      this.channels.set(channel.id, channel);
      this.direct.set(channel.user, channel);
    }
    this.commands = [...new Map(told.commands.map((command) => [command.id, command])).values()];
  }

  // -- where we are ------------------------------------------------------------------------------

  /** Id of the channel that is shown; null for direct messages of which there are none yet. */
  get here() {
    return this.isDirect ? (this.direct.get(this.me)?.id ?? null) : this.#shownChannel;
  }

  get channel() {
    return this.channels.get(this.here) ?? null;
  }

  get guild() {
    return this.guilds.find((guild) => guild.id === this.channel?.guild_id) ?? null;
  }

  /** How the control API is told where we are. */
  get place() {
    return this.isDirect ? { dm: this.me } : { channel: this.here };
  }

  /** Show a channel of a server; the first one if there is none of this id. */
  async open(id) {
    const known = this.channels.get(id)?.guild_id ? id : this.guilds[0]?.channels[0]?.id;
    this.isDirect = false;
    this.#shownChannel = known ?? null;
    await this.#load();
  }

  /** Show the direct messages between the user that is played and the bot. */
  async openDirect() {
    this.isDirect = true;
    await this.#load();
  }

  async #load() {
    const { here } = this;
    this.#keep("here", this.isDirect ? "@" : here);
    this.unread.delete(here);
    this.messages = new Map();
    this.tell("places");
    if (here !== null) {
      const { messages } = await api.messages({ channel: here });
      if (this.here !== here) return;
      for (const message of messages) if (!message.deleted_at) this.messages.set(message.id, message);
      await this.#learnUses();
    }
    this.tell("opened");
  }

  /** Play somebody else. */
  async become(name) {
    this.me = name;
    this.#keep("me", name);
    if (this.isDirect) {
      await this.#load();
    } else {
      this.tell("places");
      this.tell("opened"); // private answers are for one person each
    }
  }

  // -- reading -----------------------------------------------------------------------------------

  names = {
    user: (id) => this.users.get(id)?.name,
    channel: (id) => this.channels.get(id)?.name,
    role: (id) => this.guild?.roles.find((role) => role.id === id)?.name,
  };

  people() {
    return [...this.users.values()].filter((user) => !user.bot);
  }

  /** Messages to show, oldest first. */
  shown() {
    return [...this.messages.values()].filter((message) => this.mayRead(message));
  }

  /** A private answer is for who asked alone. */
  mayRead(message) {
    return !message.ephemeral || this.uses.get(message.interaction_id)?.user === this.me;
  }

  typists() {
    return [...(this.typing.get(this.here)?.keys() ?? [])].filter((name) => name !== this.me);
  }

  // -- hearing -----------------------------------------------------------------------------------

  #hear(event) {
    const message = event.message;
    if (event.type === "message_create") this.#created(message);
    else if (event.type === "message_update") this.#updated(message);
    else if (event.type === "message_delete") this.#deleted(message);
    else if (event.type.startsWith("reaction")) this.#reacted(event);
    else if (event.type === "typing") this.#typed(event.channel_id, event.user.name);
    else if (event.type === "interaction") {
      this.uses.set(event.interaction_id, { user: event.user.name, name: event.name });
    } else if (/^(?:channel|guild|commands)/.test(event.type)) this.refresh().catch(() => {});
    else if (/^(?:gateway|presence)/.test(event.type)) this.tell("gateway", event);
    this.tell("event", event);
  }

  #created(message) {
    this.#doneTyping(message.channel_id, message.author.name);
    if (!this.users.has(message.author.id)) this.users.set(message.author.id, message.author);
    const mine = message.author.name === this.me;
    if (message.direct && !this.channels.has(message.channel_id)) {
      this.#adopt(message, mine);
      return;
    }
    if (message.channel_id !== this.here) {
      if (!mine) this.unread.set(message.channel_id, (this.unread.get(message.channel_id) ?? 0) + 1);
      this.tell("places");
      return;
    }
    this.messages.set(message.id, message);
    if (this.messages.size > MESSAGES_KEPT) {
      const oldest = this.messages.keys().next().value;
      this.messages.delete(oldest);
      this.tell("removed", oldest);
    }
    if (message.author.bot) {
      for (const earlier of [...this.streaming.keys()]) this.#settle(earlier); // a next part: the last is whole
      this.#streams(message.id);
    }
    if (this.mayRead(message)) this.tell("created", message);
  }

  /** The first message of a direct channel makes it known. */
  #adopt(message, mine) {
    const waiting = this.isDirect && this.here === null;
    this.refresh()
      .then(() => (waiting && mine ? this.#load() : null))
      .catch(() => {});
  }

  #updated(message) {
    if (message.channel_id !== this.here || !this.messages.has(message.id)) return;
    this.messages.set(message.id, message);
    if (message.author.bot) this.#streams(message.id);
    this.tell("updated", message);
  }

  #deleted(message) {
    if (this.messages.delete(message.id)) this.tell("removed", message.id);
  }

  #reacted(event) {
    const message = this.messages.get(event.message_id);
    if (!message) return;
    const users = new Set(message.reactions[event.emoji] ?? []);
    if (event.type === "reaction_add") users.add(event.user.name);
    else users.delete(event.user.name);
    if (users.size) message.reactions[event.emoji] = [...users];
    else delete message.reactions[event.emoji];
    this.tell("updated", message);
  }

  /** Words of the bot are taken to be coming until they have stood still for a moment. */
  #streams(id) {
    clearTimeout(this.streaming.get(id));
    this.streaming.set(id, setTimeout(() => this.#settle(id), STREAMING_MS));
  }

  #settle(id) {
    clearTimeout(this.streaming.get(id));
    this.streaming.delete(id);
    const message = this.messages.get(id);
    if (message) this.tell("settled", message);
  }

  #typed(channel, name) {
    if (!this.typing.has(channel)) this.typing.set(channel, new Map());
    const here = this.typing.get(channel);
    clearTimeout(here.get(name));
    here.set(name, setTimeout(() => this.#doneTyping(channel, name), TYPING_MS));
    if (channel === this.here) this.tell("typing");
  }

  #doneTyping(channel, name) {
    const here = this.typing.get(channel);
    if (!here?.has(name)) return;
    clearTimeout(here.get(name));
    here.delete(name);
    if (channel === this.here) this.tell("typing");
  }

  /** Whose command each private answer belongs to, for those from before the page was opened. */
  async #learnUses() {
    const unknown = [...this.messages.values()].filter((m) => m.interaction_id && !this.uses.has(m.interaction_id));
    await Promise.all(
      unknown.slice(-40).map(async (message) => {
        const used = await api.interaction(message.interaction_id).catch(() => null);
        if (used) this.uses.set(used.id, { user: used.user, name: used.name });
      }),
    );
  }

  // -- kept over a reload ------------------------------------------------------------------------

  #idOf(name) {
    return [...this.users.values()].find((user) => user.name === name)?.id;
  }

  #keep(name, value) {
    sessionStorage.setItem(`sim:${name}`, value);
  }

  #kept(name, otherwise) {
    return sessionStorage.getItem(`sim:${name}`) || otherwise;
  }
}
