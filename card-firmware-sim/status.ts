/** The status byte that ends every native answer (91 SS), and the error by which a command of the chip ends with one. */

export const STATUS = {
  OPERATION_OK: 0x00,
  NO_CHANGES: 0x0c,
  OUT_OF_MEMORY: 0x0e,
  ILLEGAL_COMMAND: 0x1c,
  INTEGRITY_ERROR: 0x1e,
  NO_SUCH_KEY: 0x40,
  LENGTH_ERROR: 0x7e,
  PERMISSION_DENIED: 0x9d,
  PARAMETER_ERROR: 0x9e,
  APPLICATION_NOT_FOUND: 0xa0,
  AUTHENTICATION_DELAY: 0xad,
  AUTHENTICATION_ERROR: 0xae,
  ADDITIONAL_FRAME: 0xaf,
  BOUNDARY_ERROR: 0xbe,
  COMMAND_ABORTED: 0xca,
  DUPLICATE_ERROR: 0xde,
  MEMORY_ERROR: 0xee,
  FILE_NOT_FOUND: 0xf0,
} as const;

type StatusName = keyof typeof STATUS;

/** Ends the command under way with this status; the chip then drops the session and the open transaction. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly status: number;

  constructor(status: StatusName) {
    super(status);
    this.status = STATUS[status];
  }
}
