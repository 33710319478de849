import { context, type MeterProvider, type TracerProvider } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider as SdkMeterProvider } from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace-base';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Only what is measured. */
const PLAIN = { withoutScopeInfo: true, withoutTargetInfo: true };

/** The SDK of OpenTelemetry, with metrics that are scraped over HTTP and spans that stay in memory. */
export class Telemetry {
  readonly #spans = new InMemorySpanExporter();
  readonly tracerProvider: TracerProvider & BasicTracerProvider;

  private constructor(
    readonly meterProvider: MeterProvider & SdkMeterProvider,
    readonly server: Server,
  ) {
    this.tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(this.#spans)] });
  }

  /** It also makes spans know their parents, for the whole file. */
  static async start(): Promise<Telemetry> {
    // A server of its own would not take just any port.
    const exporter = new PrometheusExporter({ preventServerStart: true, ...PLAIN });
    const server = createServer((request, response) => exporter.getMetricsRequestHandler(request, response));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    return new Telemetry(new SdkMeterProvider({ readers: [exporter] }), server);
  }

  async stop(): Promise<void> {
    context.disable();
    this.server.close();
    await Promise.all([this.meterProvider.shutdown(), this.tracerProvider.shutdown()]);
  }

  /** What is scraped: the value by `name{labels}`, without the buckets. */
  async scrape(): Promise<Record<string, number>> {
    const page = await this.#get();
    const series = page.matchAll(/^(etcd_lock\w+(?:\{.*\})?) (\S+)$/gm);
    return Object.fromEntries(
      [...series].flatMap(([, name, value]) => (name!.includes('_bucket') ? [] : [[name!, Number(value)]])),
    );
  }

  /** On a connection of its own, because the next exporter may get the same port. */
  async #get(): Promise<string> {
    const { port } = this.server.address() as AddressInfo;
    const request = get(`http://127.0.0.1:${port}/metrics`, { agent: false });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return (await response.toArray()).join('');
  }

  /** The spans that have ended with that name, oldest first. */
  spans(name: string): ReadableSpan[] {
    return this.#spans.getFinishedSpans().filter((span) => span.name === name);
  }

  forget(): void {
    this.#spans.reset();
  }
}
