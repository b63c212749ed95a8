/** The settlement's three servers merged in one process (paragraph 0064): the same services, called directly instead of over TLS. */
import * as v from 'valibot';
import { startApplicationServer } from '../application/start.ts';
import { startInformationService } from '../information/start.ts';
import { startSecurityService } from '../security/start.ts';
import { runAsProcess } from '../shared/process.ts';
import { applicationPartsSchema, informationPartsSchema, securityPartsSchema, trustSchema } from '../shared/settlement-config.ts';

const configSchema = v.strictObject({ trust: trustSchema, application: applicationPartsSchema, security: securityPartsSchema, information: informationPartsSchema });

runAsProcess(import.meta.url, configSchema, async ({ trust, application, security, information }) => {
  const startedInformation = await startInformationService({ ...information, trust });
  const startedSecurity = await startSecurityService({ ...security, trust }, startedInformation.service);
  const server = await startApplicationServer({ ...application, trust }, { security: startedSecurity.service, information: startedInformation.service });
  return {
    addresses: { ...server.addresses, information: startedInformation.origin },
    close: async () => {
      await server.close();
      await startedSecurity.close();
      await startedInformation.close();
    },
  };
});
