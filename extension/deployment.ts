/** What one settlement institution builds into its extension: whom to trust and whom to call. Checked when it is built and when it starts. */
import * as v from 'valibot';

/** `https://host[:port]`, nothing behind it. */
const httpsOrigin = v.pipe(
  v.string(),
  v.maxLength(200),
  v.check((text) => URL.canParse(text) && new URL(text).origin === text && text.startsWith('https://'), 'not an https origin'),
);

const deploymentSchema = v.strictObject({
  /** Root certificates (DER, base64). Nothing that the extension hears later can add one. */
  trustAnchors: v.pipe(v.array(v.pipe(v.string(), v.base64(), v.maxLength(8192))), v.minLength(1), v.maxLength(8)),
  /** The application server. */
  settlementOrigin: httpsOrigin,
  /** Where a one-time code becomes a certificate. */
  enrolmentOrigin: httpsOrigin,
  /** Version of extension and native host. */
  version: v.pipe(v.string(), v.regex(/^\d{1,3}\.\d{1,3}\.\d{1,3}$/)),
  /** False: the balance is not read out (paragraph 0064) unless the customer's settings say otherwise. */
  readBalance: v.optional(v.boolean(), true),
});
export type Deployment = v.InferOutput<typeof deploymentSchema>;

/** Throws an Error that names the first field that is wrong. */
export function parseDeployment(value: unknown): Deployment {
  const result = v.safeParse(deploymentSchema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new Error(`deployment: ${v.getDotPath(issue) ?? 'the whole'}: ${issue.message}`);
}
