import type { MemberView } from '../../protocol.js';
import { bytes, duration } from '../format.js';
import { useStore } from '../page.js';
import { Outside } from './outside.js';

/** The members of etcd, as they answer the process. */
export function Cluster() {
  const cluster = useStore((state) => state.pulse?.cluster);
  if (!cluster) return null;
  return (
    <section class="card" aria-labelledby="cluster">
      <h2 id="cluster">etcd</h2>
      {cluster.members.length === 0 && <p class="muted">No member was asked yet.</p>}
      <ul class="members">
        {cluster.members.map((member) => (
          <Member key={member.endpoint} member={member} />
        ))}
      </ul>
    </section>
  );
}

function Member({ member: { endpoint, problem, version, isLeader, size, took } }: { member: MemberView }) {
  return (
    <li>
      <p class="endpoint">
        <Outside text={endpoint} />
        {problem !== null && <span class="badge bad">does not answer</span>}
        {isLeader && <span class="badge">leader</span>}
      </p>
      {problem === null ? (
        <p class="muted">
          {[
            version !== null && `version ${version}`,
            size !== null && bytes(size),
            took !== null && `answers in ${duration(took)}`,
          ]
            .filter(Boolean)
            .join(' · ')}
        </p>
      ) : (
        <p class="problem">
          <Outside text={problem} />
        </p>
      )}
    </li>
  );
}
