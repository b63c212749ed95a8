/** The pictures: a few strokes each, in the colour of the text around them. */
import { svg } from './dom.ts';

const LINE = { fill: 'none', stroke: 'currentColor', 'stroke-linecap': 'round', 'stroke-linejoin': 'round' };

const icon = (name: string, ...paths: string[]): SVGSVGElement => svg(`icon icon-${name}`, '0 0 24 24', paths.map((d) => ['path', { ...LINE, 'stroke-width': 2, d }]));

export const tick = () => icon('tick', 'M4.5 12.5 9.5 17.5 19.5 6.5');
export const question = () => icon('question', 'M8.6 9.2a3.5 3.5 0 1 1 5.2 3c-1.2.7-1.8 1.4-1.8 2.6', 'M12 18.4v.1');
export const exclamation = () => icon('exclamation', 'M12 5v9', 'M12 18.4v.1');
export const shield = () => icon('shield', 'M12 3 19 5.8v5.4c0 4.4-2.9 7.9-7 9.8-4.1-1.9-7-5.4-7-9.8V5.8Z', 'M8.8 12l2.3 2.3 4.2-4.6');
export const hourglass = () => icon('hourglass', 'M12 7.5V12l3 2', 'M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17Z');
export const arrowOut = () => icon('arrow-out', 'M7.5 16.5 16.5 7.5', 'M9 7.5h7.5V15');
export const arrowIn = () => icon('arrow-in', 'M16.5 7.5 7.5 16.5', 'M15 16.5H7.5V9');

/** The outcome, large, in a ring. */
export const outcomeMark = (kind: 'paid' | 'not-paid' | 'unknown' | 'error') =>
  svg(`outcome-mark outcome-${kind}`, '0 0 72 72', [
    ['circle', { class: 'ring', cx: 36, cy: 36, r: 33, 'stroke-width': 3 }],
    ...OUTCOME_PATHS[kind].map((d) => ['path', { ...LINE, 'stroke-width': 4.5, d }] as const),
  ]);

const OUTCOME_PATHS = {
  paid: ['M22 37.5 32 47.5 51 26.5'],
  'not-paid': ['M26 26 46 46', 'M46 26 26 46'],
  unknown: ['M28.6 30a7.6 7.6 0 1 1 11.3 6.6c-2.7 1.5-3.9 3.1-3.9 5.8', 'M36 50.2v.2'],
  error: ['M36 21v20', 'M36 50.2v.2'],
};

/** A card above a reader; it moves down onto it where motion is welcome. */
export const cardOnReader = () =>
  svg('card-picture', '0 0 200 150', [
    ['rect', { class: 'reader-body', x: 28, y: 92, width: 144, height: 40, rx: 10 }],
    ['rect', { class: 'reader-top', x: 44, y: 84, width: 112, height: 16, rx: 8 }],
    ['circle', { class: 'reader-lamp', cx: 150, cy: 116, r: 4 }],
    ['path', { class: 'reader-waves', ...LINE, 'stroke-width': 3, d: 'M84 116a16 16 0 0 1 0-8M94 119a24 24 0 0 1 0-14M104 122a32 32 0 0 1 0-20' }],
    [
      'g',
      { class: 'card' },
      [
        ['rect', { class: 'card-body', x: 52, y: 8, width: 96, height: 60, rx: 8 }],
        ['rect', { class: 'card-chip', x: 64, y: 26, width: 20, height: 16, rx: 3 }],
        ['path', { class: 'card-lines', ...LINE, 'stroke-width': 3, d: 'M64 54h34M112 54h22' }],
      ],
    ],
  ]);
