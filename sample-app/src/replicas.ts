import type { ConfigService } from '@nestjs/config';

/** The addresses of all processes of this service as browsers know them; empty if there is only this one. */
export function replicas(config: ConfigService): string[] {
  return config
    .get<string>('REPLICAS', '')
    .split(',')
    .filter((url) => url !== '');
}
