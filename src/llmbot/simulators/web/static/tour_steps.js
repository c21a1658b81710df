// The five faults of the guided tour: what breaks, what to watch for, and what must come of it.
import { api } from "./api.js";

const LINE_CUT_S = 6;

/** What a look at the channel since the question tells; see `tour.js`. */
const oneReply = { label: "There is exactly one reply", holds: (seen) => seen.replies.length === 1, atEnd: true };
const answered = { label: "The answer is complete", holds: (seen) => seen.settled };

export const STEPS = [
  {
    id: "cut",
    title: "The model hangs up mid-sentence",
    breaks: "The model's stream breaks off in the middle of the answer.",
    expect: "The bot notices that the end is missing and asks a stand-in model. Watch the half answer turn into a whole one.",
    question: "[[paragraphs]] Why is the sea salty?",
    faults: ["gemini.cut"],
    arrange: () => api.faultOn("gemini.cut", { times: 1 }),
    checks: [
      { label: "The stream was cut", holds: (seen) => seen.struck("gemini.cut") },
      { label: "Another call to a model succeeded", holds: (seen) => seen.modelCalls > 1 && seen.settled },
      answered,
      oneReply,
    ],
  },
  {
    id: "quota",
    title: "The day's quota is used up",
    breaks: "The first model answers 429: nothing left today.",
    expect: "Its circuit breaker opens, so that it is left in peace, and the next model in the chain answers.",
    question: "[[code]] How do I reverse a list in Python?",
    faults: ["gemini.quota_day"],
    arrange: () => api.faultOn("gemini.quota_day", { times: 1 }),
    checks: [
      { label: "The model refused for lack of quota", holds: (seen) => seen.struck("gemini.quota_day") },
      answered,
      oneReply,
    ],
  },
  {
    id: "twice",
    title: "Discord says no, but did it anyway",
    breaks: "Discord posts the reply, then answers 502 as if it had failed.",
    expect: "A bot that simply tries again posts twice. This one sends the same nonce again, and you see one reply.",
    question: "[[chat]] What is a nonce good for?",
    faults: ["rest.accepted_error"],
    arrange: () => api.faultOn("rest.accepted_error", { times: 1, params: { route: "POST /channels/{}/messages" } }),
    checks: [
      { label: "Discord answered 502 to a post that it had taken", holds: (seen) => seen.struck("rest.accepted_error") },
      answered,
      oneReply,
    ],
  },
  {
    id: "line",
    title: "The line to Discord is cut",
    breaks: `The gateway drops the bot and refuses it for ${LINE_CUT_S} seconds. You write meanwhile.`,
    expect: "The bot comes back by itself, resumes its session and answers what it has missed.",
    question: "[[chat]] Did you hear this while you were away?",
    faults: ["gateway.refuse"],
    arrange: async () => {
      await api.faultOn("gateway.refuse", { seconds: LINE_CUT_S });
      await api.gatewayAct("drop");
    },
    checks: [
      { label: "The gateway refused the bot", holds: (seen) => seen.struck("gateway.refuse") },
      { label: "The bot is connected again", holds: (seen) => seen.heard("gateway_resumed") || seen.heard("gateway_ready") },
      answered,
      oneReply,
    ],
  },
  {
    id: "kill",
    title: "kill -9 in the middle of a sentence",
    breaks: "The bot's process is killed while it writes. It gets no chance to say goodbye.",
    expect: "Started again, it finds its half-written message and finishes it. No part comes twice.",
    question: "[[long]] Tell me the whole story of the internet.",
    faults: [],
    needsBot: true,
    arrange: async () => {},
    atFirstWords: () => api.killBot(),
    checks: [
      { label: "The process was killed", holds: (seen) => seen.acted },
      { label: "A new process has connected", holds: (seen) => seen.heard("gateway_resumed") || seen.heard("gateway_ready") },
      { label: "The half-written message was taken up again", holds: (seen) => seen.continued },
      answered,
      { label: "No part came twice", holds: (seen) => new Set(seen.replies.map((each) => each.content)).size === seen.replies.length, atEnd: true },
    ],
  },
];
