import { BadRequestException, Injectable, type PipeTransform } from '@nestjs/common';

/** What a customer wants. */
export interface Order {
  customer: string;
  /** The seat; the next free one by default. */
  seat: number | undefined;
  /** How long to think between reading and writing, in milliseconds; as long as the service does by default. */
  think: number | undefined;
}

/** Everybody who looks at the lock sees the name, and etcd keeps it; so it has an end. */
const LONGEST_NAME = 60;

/** Makes an order of the body of a request, or refuses it. */
@Injectable()
export class OrderPipe implements PipeTransform<unknown, Order> {
  transform(body: unknown): Order {
    const { customer = 'anonymous', seat, think } = (body ?? {}) as Record<string, unknown>;
    return { customer: customerName(customer), seat: optional('seat', seat), think: optional('think', think) };
  }
}

export function customerName(value: unknown): string {
  if (typeof value === 'string' && value !== '' && value.length <= LONGEST_NAME) return value;
  throw new BadRequestException(`"customer" must be a name of 1 to ${LONGEST_NAME} characters`);
}

export function positive(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value;
  throw new BadRequestException(`"${name}" must be a whole number above 0, got ${JSON.stringify(value)}`);
}

function optional(name: string, value: unknown): number | undefined {
  return value === undefined ? undefined : positive(name, value);
}
