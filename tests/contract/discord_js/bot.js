// A plain discord.js bot. All it is told about the server is its REST base; the gateway's address,
// the session and everything else it finds out by itself, as with the real service.
import { AttachmentBuilder, Client, Events, GatewayIntentBits, Partials } from "discord.js";

const [base, token] = process.argv.slice(2);
const { Guilds, GuildMessages, MessageContent, DirectMessages } = GatewayIntentBits;

const client = new Client({
  intents: [Guilds, GuildMessages, MessageContent, DirectMessages],
  partials: [Partials.Channel],
  rest: { api: `${base}/api` },
});

const tell = (kind, facts = {}) => console.log(JSON.stringify({ kind, ...facts }));

client.once(Events.ClientReady, async (ready) => {
  const commands = await ready.application.commands.set([
    { name: "ask", description: "Asks", options: [{ type: 3, name: "text", description: "What" }] },
  ]);
  tell("ready", { user: ready.user.username, commands: commands.size });
});

client.on(Events.MessageCreate, async (message) => {
  if (message.author.bot) return;
  if (message.content === "leave") {
    await client.destroy();
    return;
  }
  await message.channel.sendTyping();
  const reply = await message.reply({ content: "a moment", allowedMentions: { parse: [] } });
  const file = new AttachmentBuilder(Buffer.from("words"), { name: "notes.txt" });
  await reply.edit({ content: `you said: ${message.content}`, files: [file] });
  const history = await message.channel.messages.fetch({ limit: 2 });
  tell("answered", { history: history.map((each) => each.content) });
});

client.on(Events.InteractionCreate, async (interaction) => {
  if (!interaction.isChatInputCommand()) return;
  await interaction.deferReply();
  await interaction.editReply(`asked: ${interaction.options.getString("text")}`);
  await interaction.followUp("and more");
  tell("interacted");
});

client.on(Events.ShardResume, (_shard, replayed) => tell("resumed", { replayed }));
client.on(Events.ShardReconnecting, () => tell("reconnecting"));
client.on(Events.Error, (error) => tell("error", { message: error.message }));

await client.login(token);
