/** Every screen in Japanese. */
import { testEveryScreen } from './every-screen.ts';

testEveryScreen('ja');
