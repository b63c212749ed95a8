/** The pairing page in its tab: the browser's own pieces put together. */
import browser from 'webextension-polyfill';
import { openDeviceReaders } from '#bridge/device/device-readers.ts';
import { createHidBus } from '#bridge/webhid/hid-bus.ts';
import { createUsbBus } from '#bridge/webusb/usb-bus.ts';
import { DEPLOYMENT } from '../built-in.ts';
import { messageLanguage, t } from '../language.ts';
import { createAttendedReaders } from '../ports/attended-readers.ts';
import { whileLookedAt } from '../ports/looked-at.ts';
import { connectReaderProgram } from '../ports/reader-program.ts';
import { environmentOf } from './environment.ts';
import { createFollowedBuses } from './followed-buses.ts';
import { createPairedMemory } from './paired-memory.ts';
import { createPairing } from './pairing.ts';
import { openReadersPage } from './readers-page.ts';
import { createReadersView } from './readers-view.ts';

function start(): void {
  // Typed as always there; Firefox has neither.
  const { usb, hid } = navigator as Partial<Pick<Navigator, 'usb' | 'hid'>>;
  const environment = environmentOf(navigator, DEPLOYMENT.version);
  const followed = createFollowedBuses();
  const buses = [...(usb === undefined ? [] : [followed.follow(createUsbBus(usb, environment.system))]), ...(hid === undefined ? [] : [followed.follow(createHidBus(hid))])];
  const view = createReadersView(document.body, {
    pair: (kind) => page.pair(kind),
    forget: (rowId) => page.forget(rowId),
    startTrial: (rowId) => page.startTrial(rowId),
    stopTrial: () => page.stopTrial(),
    lookAgain: () => page.lookAgain(),
    copyReport: () => page.copyReport(),
    copyCommand: (command) => page.copyCommand(command),
  });
  const page = openReadersPage(
    {
      environment,
      pairing: createPairing({ usb, hid, memory: createPairedMemory(browser.storage.local), driverNameOf: (device) => followed.nameOf(device) }),
      openProgram: () => connectReaderProgram(),
      devices: buses.length === 0 ? null : { readers: createAttendedReaders(() => openDeviceReaders(buses)), lookAgain: () => followed.lookAgain() },
      copy: (text) => navigator.clipboard.writeText(text),
      now: () => performance.now(),
    },
    (state) => view.show(state),
  );
  whileLookedAt((isLookedAt) => page.attend(isLookedAt));
  window.addEventListener('pagehide', () => page.close());
}

document.documentElement.lang = messageLanguage();
document.title = `${t('readersTitle')} - ${t('productName')}`;
start();
