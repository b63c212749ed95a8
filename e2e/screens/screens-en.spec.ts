/** Every screen in English. */
import { testEveryScreen } from './every-screen.ts';

testEveryScreen('en');
