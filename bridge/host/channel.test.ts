import { createServer } from 'node:net';
import { answerOfContractCard, describeCardChannel, type ContractRig } from '#bridge/card-channel.contract.ts';
import type { ReaderBackend } from './backend.ts';
import { connectCardChannel } from './channel.ts';
import { createSimBackend, SIM_READER_NAME } from './sim/backend.ts';
import { TestCard } from './sim/test-card.fixture.ts';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Watches until the simulated reader is in that state. */
function stateReached(backend: ReaderBackend, state: string): Promise<void> {
  return new Promise((resolve) => {
    const watch = backend.watch(({ readers }) => {
      if (readers[0]?.state !== state) return;
      queueMicrotask(() => watch.stop());
      resolve();
    });
  });
}

async function openRig(): Promise<ContractRig> {
  const port = await freePort();
  const backend = createSimBackend(port);
  const card = new TestCard(answerOfContractCard);
  const present = stateReached(backend, 'present');
  await card.insert(port);
  await present;
  return {
    channel: await connectCardChannel(backend, SIM_READER_NAME, 500),
    commandsSeen: () => card.commands,
    lift: async () => {
      const empty = stateReached(backend, 'empty');
      await card.lift();
      await empty;
    },
    reopen: () => connectCardChannel(backend, SIM_READER_NAME, 500),
    end: async () => {
      await card.lift();
      await backend.close();
    },
  };
}

describeCardChannel('the direct channel over the simulated reader', openRig);
