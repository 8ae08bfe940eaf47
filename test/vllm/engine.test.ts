// The real vLLM keeps the promises that stepgate relies on, and that the simulated engine makes. Run by `npm run test:vllm`.
import { engineConformance } from '../engine/conformance.ts';
import { startVllm } from './engine.ts';

engineConformance('the real vLLM', async () => {
  const vllm = await startVllm();
  return { ...vllm, adapters: [...vllm.checkpoints.values()] };
});
