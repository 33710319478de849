import { BadRequestException, Injectable, type PipeTransform } from '@nestjs/common';
import { LockService } from 'nestjs-etcd-lock';
import { venueLock } from './booking.service.js';

/** A venue can have any name that a lock can have. A decorated route checks its key itself; a service is asked first. */
@Injectable()
export class VenuePipe implements PipeTransform<string, string> {
  constructor(private readonly locks: LockService) {}

  transform(venue: string): string {
    try {
      this.locks.keyPrefix(venueLock(venue));
      return venue;
    } catch (cause) {
      throw new BadRequestException('That cannot be the name of a venue', { cause });
    }
  }
}
