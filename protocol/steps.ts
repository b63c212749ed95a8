/** ST1 to ST20 of the patent application as data: who acts towards whom, what happens, and whose line of code it is. */

export type Party = 'extension' | 'shop' | 'application' | 'security' | 'information' | 'card';

/** The one file that journals a step. */
export type StepOwner = 'protocol/payment.ts' | 'servers/shop/service.ts' | 'servers/application/service.ts' | 'servers/security/service.ts' | 'card-firmware-sim/journal.ts';

interface StepDefinition {
  readonly id: string;
  readonly from: Party;
  readonly to: Party;
  readonly owner: StepOwner;
  readonly does: string;
}

export const STEPS = [
  { id: 'ST1', from: 'extension', to: 'shop', owner: 'protocol/payment.ts', does: 'mutual authentication, secure channel' },
  { id: 'ST2', from: 'extension', to: 'shop', owner: 'protocol/payment.ts', does: "the customer's product decision" },
  { id: 'ST3', from: 'shop', to: 'extension', owner: 'servers/shop/service.ts', does: 'estimate' },
  { id: 'ST4', from: 'extension', to: 'shop', owner: 'protocol/payment.ts', does: 'estimate shown; customer agrees; bill requested' },
  { id: 'ST5', from: 'shop', to: 'extension', owner: 'servers/shop/service.ts', does: 'BILL + SIG, with the interface program' },
  { id: 'ST6', from: 'extension', to: 'extension', owner: 'protocol/payment.ts', does: 'amount of BILL shown' },
  { id: 'ST7', from: 'extension', to: 'application', owner: 'protocol/payment.ts', does: 'customer agrees; mutual authentication, secure channel' },
  { id: 'ST8', from: 'extension', to: 'application', owner: 'protocol/payment.ts', does: 'payment request {BILL, SIG}' },
  { id: 'ST9', from: 'application', to: 'information', owner: 'servers/application/service.ts', does: "SIG verified with the shop's public key" },
  { id: 'ST10', from: 'application', to: 'security', owner: 'servers/application/service.ts', does: 'payment request {BILL}' },
  { id: 'ST11', from: 'security', to: 'card', owner: 'servers/security/service.ts', does: 'mutual authentication; both derive K_SES from K_C' },
  { id: 'ST12', from: 'security', to: 'card', owner: 'servers/security/service.ts', does: 'balance read request (BRC)' },
  { id: 'ST13', from: 'card', to: 'security', owner: 'servers/security/service.ts', does: 'balance information (BI) deciphered; log information made' },
  { id: 'ST14', from: 'application', to: 'extension', owner: 'servers/application/service.ts', does: '{BI, SPC, SIG_APL}' },
  { id: 'ST15', from: 'extension', to: 'extension', owner: 'protocol/payment.ts', does: 'SIG_APL verified; only then balance and amount shown' },
  { id: 'ST16', from: 'extension', to: 'card', owner: 'protocol/payment.ts', does: 'customer agrees; SPC to the card' },
  { id: 'ST17', from: 'card', to: 'card', owner: 'card-firmware-sim/journal.ts', does: 'log and new balance written inside the chip' },
  { id: 'ST18', from: 'card', to: 'security', owner: 'card-firmware-sim/journal.ts', does: 'processing-completed notice (PCN)' },
  { id: 'ST19', from: 'application', to: 'shop', owner: 'servers/application/service.ts', does: 'PCN checked; ACN made and sent to PC and shop' },
  { id: 'ST20', from: 'extension', to: 'extension', owner: 'protocol/payment.ts', does: 'outcome shown' },
] as const satisfies readonly StepDefinition[];

export type StepId = (typeof STEPS)[number]['id'];
